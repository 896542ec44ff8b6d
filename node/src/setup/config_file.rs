//! The configuration file that a founding writes: every key, each with what it means.

use crate::config::Config;

/// `config` as a commented TOML file, which reads back as `config`.
pub(super) fn commented(config: &Config) -> String {
    let Config { api, peer, disclosure, store, keystore, log } = config;
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |items: &[String]| {
        toml::Value::Array(items.iter().cloned().map(toml::Value::String).collect()).to_string()
    };
    let keys = [
        "# The configuration of a Signpost node. Every key may be left out; misspelt keys are refused.\n\
         # The node reads it when it starts.\n\n[api]"
            .to_owned(),
        comment("Where clinical systems reach the node. Loopback only: the API speaks plain HTTP."),
        format!("listen = {}", text(&api.listen.to_string())),
        comment("How long a look-up may take, in milliseconds, unless the request says otherwise."),
        format!("deadline_ms = {}", api.deadline_ms),
        comment("The purpose of use of requests that name none."),
        format!("default_purpose = {}", text(&api.default_purpose)),
        "\n[peer]".to_owned(),
        comment("Multiaddrs to listen on for other nodes."),
        format!("listen = {}", list(&peer.listen)),
        "\n[disclosure]".to_owned(),
        comment(
            "The purposes of use (HL7 v3 PurposeOfUse codes) for which pointers are disclosed to \
             other organizations.",
        ),
        format!("purposes = {}", list(&disclosure.purposes)),
        "\n[store]".to_owned(),
        comment("Memory for the store's cache, in MiB."),
        format!("cache_mib = {}", store.cache_mib),
        "\n[keystore]".to_owned(),
        comment("The file that holds the passphrase; relative to the node's directory."),
        format!("passphrase_file = {}", text(&keystore.passphrase_file.to_string_lossy())),
        "\n[log]".to_owned(),
        comment("What to log when RUST_LOG is not set, in its syntax."),
        format!("filter = {}", text(&log.filter)),
        comment("One JSON object a line instead of text."),
        format!("json = {}", log.json),
    ];
    keys.join("\n") + "\n"
}

fn comment(text: &str) -> String {
    format!("# {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_back() {
        let mut config = Config::default();
        for text in [commented(&config), toml::to_string(&config).unwrap()] {
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        }
        config.log.filter = "info,signpost=\"a\\b\"".to_owned();
        config.peer.listen = vec!["/ip4/127.0.0.1/tcp/1".to_owned(), "/ip6/::1/tcp/1".to_owned()];
        config.log.json = true;
        assert_eq!(toml::from_str::<Config>(&commented(&config)).unwrap(), config);
    }

    #[test]
    fn every_key_is_in_the_file_with_a_comment() {
        let config = Config::default();
        let keys = |text: &str| {
            text.parse::<toml::Table>()
                .unwrap()
                .into_iter()
                .flat_map(|(section, table)| {
                    let table: toml::Table = table.try_into().unwrap();
                    table.into_iter().map(move |(key, _)| format!("{section}.{key}"))
                })
                .collect::<Vec<_>>()
        };
        let text = commented(&config);
        assert_eq!(keys(&text), keys(&toml::to_string(&config).unwrap()));
        let lines: Vec<_> = text.lines().collect();
        for (above, line) in lines.iter().zip(&lines[1..]) {
            assert!(
                !line.contains(" = ") || line.starts_with('#') || above.starts_with('#'),
                "{line}"
            );
        }
    }
}
