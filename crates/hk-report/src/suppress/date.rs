//! Days of the calendar, for suppressions that end.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A day, as `2027-03-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u32,
    month: u32,
    day: u32,
}

impl Date {
    /// Today, in UTC: the same on every machine that runs a test.
    pub fn today() -> Date {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Date::of_day(seconds / 86_400)
    }

    /// The day with this number; 1970-01-01 is 0.
    fn of_day(day: u64) -> Date {
        let (mut year, mut day) = (1970, day as u32);
        while day >= days_of_year(year) {
            day -= days_of_year(year);
            year += 1;
        }
        let mut month = 1;
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        Date { year, month, day: day + 1 }
    }

    /// None if it is no day.
    pub(crate) fn parse(text: &str) -> Option<Date> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok())?
        };
        let date = Date { year: number(4)?, month: number(2)?, day: number(2)? };
        let is_day =
            (1..=12).contains(&date.month) && (1..=days_of_month(date.year, date.month)).contains(&date.day);
        (is_day && parts.next().is_none()).then_some(date)
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u32) -> u32 {
    365 + u32::from(is_leap(year))
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, text) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_000, "2024-10-04")]
        {
            assert_eq!(Date::of_day(day).to_string(), text);
            assert_eq!(Date::parse(text), Some(Date::of_day(day)));
        }
        for bad in ["2027-02-29", "2027-13-01", "2027-1-01", "27-01-01", "2027-01-01-01", "tomorrow", ""] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
        assert!(Date::parse("2027-03-31") < Date::parse("2027-04-01"));
        assert!(Date::today() > Date::parse("2025-01-01").unwrap());
    }
}
