//! The five ways, in the order in which they are shown.

/// One way of freeing the vector of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// As it should be.
    AfterLastUse,
    /// The leak.
    Never,
    /// The read after free.
    BeforeTheLoop,
    /// The double free.
    Twice,
    /// The invalid free.
    WrongAddress,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 5] =
        [Way::AfterLastUse, Way::Never, Way::BeforeTheLoop, Way::Twice, Way::WrongAddress];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Way::AfterLastUse => "after-last-use",
            Way::Never => "never",
            Way::BeforeTheLoop => "before-the-loop",
            Way::Twice => "twice",
            Way::WrongAddress => "wrong-address",
        }
    }

    /// The way in a few words: "the orders are …".
    pub const fn title(self) -> &'static str {
        match self {
            Way::AfterLastUse => "freed after their last use",
            Way::Never => "never freed",
            Way::BeforeTheLoop => "freed before the loop that reads them, while another thread allocates",
            Way::Twice => "freed twice, with the finisher's vector in between",
            Way::WrongAddress => "freed from the wrong address",
        }
    }

    /// The kind of finding that tells of the bug, where there is a bug.
    pub const fn kind(self) -> Option<&'static str> {
        match self {
            Way::AfterLastUse => None,
            Way::Never => Some("leak"),
            Way::BeforeTheLoop => Some("use-after-free"),
            Way::Twice => Some("double-free"),
            Way::WrongAddress => Some("not-block-start"),
        }
    }

    /// What the program does, in the order in which it does it.
    pub const fn steps(self) -> &'static [&'static str] {
        match self {
            Way::AfterLastUse => {
                &["orders = malloc", "total = add_up(orders)", "free(orders)", "packs = finish(total)"]
            }
            Way::Never => &["orders = malloc", "total = add_up(orders)", "packs = finish(total)"],
            Way::BeforeTheLoop => &[
                "orders = malloc",
                "clerk's thread: free(orders), malloc",
                "total = add_up(orders)",
                "packs = finish(total)",
            ],
            Way::Twice => &[
                "orders = malloc",
                "total = add_up(orders)",
                "free(orders)",
                "packs = finish(total)",
                "free(orders)",
                "next = malloc",
            ],
            Way::WrongAddress => {
                &["orders = malloc", "total = add_up(orders)", "free(orders + 3)", "packs = finish(total)"]
            }
        }
    }

    /// Which step is the wrong one, if a call is wrong (and not one missing).
    pub const fn wrong_step(self) -> Option<usize> {
        match self {
            Way::AfterLastUse | Way::Never => None,
            Way::BeforeTheLoop => Some(2),
            Way::Twice => Some(4),
            Way::WrongAddress => Some(2),
        }
    }
}
