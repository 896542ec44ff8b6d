//! Every digest of a country against one locator, by the code with which a node does it.
//!
//! The organizations are England's in number and size: practices that share 63.6 million patients,
//! and trusts of which a few hold most of the other 254 million pairs. A real filter is a field of
//! random bits to whoever lacks its locators, so random bits of a fresh filter's density stand in
//! for it. They lie in files that the node's own code maps, checks and tests.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand_chacha::{
    ChaCha8Rng, ChaCha20Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use signpost_node::digests::{
    Blobs, ChangeList, Changes, DigestKeying, Filter, LocatorKey, SizeClass, test_all,
};
use signpost_protocol::{Locator, OrganizationId};

use crate::{
    figures::{Aim, Figure, Series},
    setting::Scale,
};

/// Practices and trusts (DESIGN §8), and the pairs of organization and patient of each kind.
const PRACTICES: usize = 6_123;
const TRUSTS: usize = 209;
const PATIENTS: f64 = 63.6e6;
const PAIRS: f64 = 318e6;
/// Milliseconds in which all of England's digests should be tested.
const AIM: f64 = 0.3;

/// One organization's digest, as a node has it.
struct Digest {
    filter: Filter,
    keying: DigestKeying,
    changes: Changes,
}

pub(crate) fn measure(program: &Path, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let part = scale.choose(8, 1);
    let locates = scale.choose(2_000, 10_000);
    let dir = program.parent().context("the program lies in a directory")?.join("england");
    let blobs = Blobs::open(&dir)?;
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut digests = Vec::new();
    let mut bytes = 0;
    for (at, locators) in holdings(part).into_iter().enumerate() {
        let class = SizeClass::for_locators(locators).context("larger than the largest class")?;
        let (digest, length) = invent(&blobs, class, at, &mut rng)?;
        bytes += length;
        digests.push(digest);
    }
    let count = digests.len();
    let aim = AIM / part as f64;
    let said = |state: &str| format!("{count} digests, {state}");

    let (time, maybe) = time_all(&digests, locates);
    let fresh = Figure::new(said("fresh filters"), "ms", &time).beside_value(
        format!("the aim, {count} of 6,332"),
        aim,
        Some(Aim::AtMost(1.0)),
    );
    // On average a filter is half-way to the next one.
    for digest in &mut digests {
        let class = digest.filter.class();
        let lists = (class.change_lists_max() / 2).max(1);
        let mut draw = ChaCha20Rng::seed_from_u64(rng.next_u64());
        let lists: Vec<_> = (0..lists)
            .map(|_| ChangeList::build(&[], &digest.keying, class, &mut draw))
            .collect::<Result<_, _>>()?;
        digest.changes = Changes::merge(class, &lists)?;
        digest.filter.check_changes(&digest.changes)?;
    }
    let (time, maybe_later) = time_all(&digests, locates);
    let half_way = Figure::new(said("half their changes made"), "ms", &time).beside_value(
        format!("the aim, {count} of 6,332"),
        aim,
        Some(Aim::AtMost(1.0)),
    );
    drop(digests);
    std::fs::remove_dir_all(dir)?;
    Ok(vec![
        fresh,
        half_way,
        Figure::exact("false candidates a locate, fresh filters", "", maybe),
        Figure::exact("false candidates a locate, half their changes made", "", maybe_later),
        Figure::exact("all filters together, mapped", "bytes", bytes as f64),
    ])
}

/// Locators of each organization, of the `part`th part of England.
fn holdings(part: usize) -> Vec<u64> {
    let (practices, trusts) = (PRACTICES.div_ceil(part), TRUSTS.div_ceil(part));
    // Practices from 0.4 to 1.6 of the mean.
    let mean = PATIENTS / PRACTICES as f64;
    let mut all: Vec<u64> =
        (0..practices).map(|n| (mean * (0.4 + 1.2 * n as f64 / practices as f64)) as u64).collect();
    // Trusts by the root of their rank: the largest has some 9 million, the middle one 0.9.
    let weights: f64 = (1..=TRUSTS).map(|rank| 1.0 / (rank as f64).sqrt()).sum();
    all.extend((0..trusts).map(|n| {
        let rank = (n * part + 1) as f64;
        ((PAIRS - PATIENTS) / weights / rank.sqrt()) as u64
    }));
    all
}

/// A digest of random bits, by way of the disk.
fn invent(
    blobs: &Blobs,
    class: SizeClass,
    at: usize,
    rng: &mut ChaCha8Rng,
) -> anyhow::Result<(Digest, usize)> {
    let mut bytes = vec![0; class.bytes()];
    let density = f64::from(class.fresh_ones()) / f64::from(class.bits());
    fill(&mut bytes, density, rng);
    let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
    let hash = blobs.put(&bytes)?;
    let mapped = blobs.map(&hash)?.context("it was just written")?;
    let filter = Filter::check(mapped, class, ones)?;
    let mut organization = [0; 32];
    organization[..8].copy_from_slice(&(at as u64).to_be_bytes());
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    let keying = DigestKeying::new(&OrganizationId(organization), &salt);
    Ok((Digest { filter, keying, changes: Changes::none(class) }, bytes.len()))
}

/// Sets bits at random with this density, to one part in 65,536: each binary digit of the density,
/// from the last to the first, either adds ("or") or takes away ("and") half of what is left.
fn fill(bytes: &mut [u8], density: f64, rng: &mut ChaCha8Rng) {
    let digits = (density * 65_536.0) as u32;
    let mut words = vec![0_u64; bytes.len() / 8];
    let mut random = vec![0_u8; bytes.len()];
    for digit in (0..16).skip_while(|digit| digits >> digit & 1 == 0) {
        rng.fill_bytes(&mut random);
        let drawn = random.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk));
        for (word, drawn) in words.iter_mut().zip(drawn) {
            *word = if digits >> digit & 1 == 1 { *word | drawn } else { *word & drawn };
        }
    }
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
}

/// Tests locators that nobody has; returns the times and the mean number of digests that say maybe.
fn time_all(digests: &[Digest], locates: usize) -> (Series, f64) {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let (mut times, mut maybe) = (Series::default(), 0);
    // The first ones find the files' pages.
    for n in 0..locates + locates / 10 {
        let mut locator = [0; 32];
        rng.fill_bytes(&mut locator);
        let started = Instant::now();
        let key = LocatorKey::new(&Locator(locator));
        let tests: Vec<_> = digests.iter().map(|d| (&d.filter, &d.keying, &d.changes)).collect();
        let hits = test_all(&key, &tests).into_iter().filter(|maybe| *maybe).count();
        let took: Duration = started.elapsed();
        if n >= locates / 10 {
            times.time(took);
            maybe += black_box(hits);
        }
    }
    (times, maybe as f64 / locates as f64)
}
