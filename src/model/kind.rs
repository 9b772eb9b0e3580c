//! What a job is: the kinds that this version has, the names of those that it has not, and what each asks of a row.
//!
//! A new kind is a word here, with its fields and needs; the compiler then asks `JobSpec::parse` what a row of it says.

use super::schema::{JobField, words};

words! {
    /// What a job is, and so which fields it has.
    Kind {
        /// Packets of ports: counted, and the largest flows among them.
        Traffic = "traffic",
    }
}

/// The kind of a job that does not say.
pub const DEFAULT: Kind = Kind::Traffic;

/// Names of kinds that are not in this version. A job of one is refused `kind_unavailable`, and not as a mistake.
pub const UNAVAILABLE: &[&str] = &["drops", "congestion", "control-plane", "profile", "offcpu", "redis", "audit"];

impl Kind {
    /// The fields that a row of this kind may have; any other is refused by name.
    #[must_use]
    pub const fn fields(self) -> &'static [JobField] {
        match self {
            Kind::Traffic => JobField::ALL,
        }
    }

    /// Those of them that a row must have.
    #[must_use]
    pub const fn needs(self) -> &'static [JobField] {
        match self {
            Kind::Traffic => &[JobField::Port],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_needs_nothing_that_it_does_not_take_and_every_kind_has_the_field_that_names_it() {
        for kind in Kind::ALL {
            assert!(kind.needs().iter().all(|field| kind.fields().contains(field)), "{kind}");
            assert!(kind.fields().contains(&JobField::Kind), "{kind}");
            assert!(!kind.needs().contains(&JobField::Kind), "{kind}");
        }
    }

    #[test]
    fn every_field_is_of_some_kind_and_no_kind_is_both_there_and_unavailable() {
        for field in JobField::ALL {
            assert!(Kind::ALL.iter().any(|kind| kind.fields().contains(field)), "{field}");
        }
        assert!(UNAVAILABLE.iter().all(|word| Kind::from_word(word).is_none()));
    }
}
