//! Purposes of use: the codes of HL7 v3 PurposeOfUse.
//!
//! A holder discloses for the purposes of its policy, and to any other it answers as if it had
//! nothing. So a misspelt purpose would look like "no records": it is refused before anybody is
//! asked.

/// The codes of the value set PurposeOfUse (`http://terminology.hl7.org/ValueSet/v3-PurposeOfUse`).
const CODES: [&str; 59] = [
    "BIORCH",
    "BTG",
    "CAREMGT",
    "CLINTRCH",
    "CLINTRCHNPC",
    "CLINTRCHPC",
    "CLINTRL",
    "CLMATTCH",
    "COC",
    "COVAUTH",
    "COVERAGE",
    "DISASTER",
    "DONAT",
    "DSRCH",
    "ELIGDTRM",
    "ELIGVER",
    "ENROLLM",
    "ERTREAT",
    "ETREAT",
    "FAMRQT",
    "FRAUD",
    "GOV",
    "HACCRED",
    "HCOMPL",
    "HDECD",
    "HDIRECT",
    "HDM",
    "HLEGAL",
    "HMARKT",
    "HOPERAT",
    "HOUTCOMS",
    "HPAYMT",
    "HPRGRP",
    "HQUALIMP",
    "HRESCH",
    "HSYSADMIN",
    "HTEST",
    "LABELING",
    "MEMADMIN",
    "METAMGT",
    "MILCDM",
    "MILDCRG",
    "PATADMIN",
    "PATRQT",
    "PATSFTY",
    "PERFMSR",
    "POARCH",
    "POPHLTH",
    "PRECLINTRCH",
    "PUBHLTH",
    "PWATRNY",
    "RECORDMGT",
    "REMITADV",
    "SUPNWK",
    "SYSDEV",
    "THREAT",
    "TRAIN",
    "TRANSRCH",
    "TREAT",
];

/// What is said of a purpose that is none.
pub const RULE: &str = "must be a code of HL7 v3 PurposeOfUse, such as TREAT (treatment), ETREAT \
                        (emergency treatment) or PATRQT (the patient's request)";

/// The code that `text` means, whatever the case of its letters; `None` when there is none.
#[must_use]
pub fn purpose(text: &str) -> Option<&'static str> {
    CODES.into_iter().find(|code| code.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use signpost_protocol::limits;

    use super::*;

    #[test]
    fn codes_are_known_in_any_case_and_slips_are_not() {
        assert_eq!(purpose("TREAT"), Some("TREAT"));
        assert_eq!(purpose("eTreat"), Some("ETREAT"));
        for slip in ["", "TRAET", "TREAT ", "treatment", "9990000018"] {
            assert_eq!(purpose(slip), None, "{slip}");
        }
        assert!(CODES.iter().all(|code| code.len() <= limits::PURPOSE_BYTES_MAX));
    }
}
