//! The selectors of groups.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{patterns::Patterns, resolve::Desk, shape};
use crate::catalog::{Field, Pattern, Selector};

/// Words of `/ipxe` that have a key of their own, and `firmware`, which is none of its words.
const KEYS: [&str; 7] = ["arch", "firmware", "mac", "manufacturer", "product", "serial", "uuid"];

impl Desk<'_> {
    pub(super) fn selector(&mut self, mut written: shape::Selector) -> Option<Selector> {
        let exclusions = written.not.take().map(|not| {
            let span = Spanned::new(not.span(), ());
            let mut not = not.into_inner();
            if not.not.take().is_some() {
                self.wrong(&span, "a not has no not of its own; leave it out");
            }
            self.fields(*not)
        });
        let fields = self.fields(written);
        match exclusions {
            Some(exclusions) => Some(Selector::new(fields?).excluding(exclusions?)),
            None => fields.map(Selector::new),
        }
    }

    /// Reads the fields of a selector; `None` when something is wrong with one.
    fn fields(&mut self, written: shape::Selector) -> Option<BTreeMap<Field, Vec<Pattern>>> {
        let own = [
            (Field::Mac, written.mac),
            (Field::Uuid, written.uuid),
            (Field::Serial, written.serial),
            (Field::Arch, written.arch),
            (Field::Firmware, written.firmware),
            (Field::Manufacturer, written.manufacturer),
            (Field::Product, written.product),
        ];
        let mut fields = BTreeMap::new();
        let mut whole = true;
        for (field, patterns) in own {
            let Some(patterns) = patterns else { continue };
            whole &= self.field(field, patterns, &mut fields);
        }
        for (name, patterns) in written.label {
            if KEYS.contains(&name.as_str()) {
                let text = format!("{name:?} is no label; write {name} = … without \"label.\"");
                self.wrong(&patterns, text);
                whole = false;
                continue;
            }
            whole &= self.field(Field::Label(name), patterns, &mut fields);
        }
        whole.then_some(fields)
    }

    /// Reads one field; false when something is wrong with it.
    pub(super) fn field(
        &mut self,
        field: Field,
        written: Spanned<Patterns>,
        fields: &mut BTreeMap<Field, Vec<Pattern>>,
    ) -> bool {
        let span = written.span();
        let values = match written.into_inner() {
            Patterns::One(text) => vec![Spanned::new(span, text)],
            Patterns::Many(values) if values.is_empty() => {
                let text = format!("{field} has no value, so no machine matches; leave it out");
                self.wrong(&Spanned::new(span, ()), text);
                return false;
            }
            Patterns::Many(values) => values,
        };
        let mut patterns = Vec::new();
        let mut whole = true;
        for value in &values {
            match Pattern::parse(&field, value.get_ref()) {
                Ok(Pattern::Uuid(uuid)) if self.shared_uuids.contains(&uuid) => {
                    let text = format!(
                        "{:?} is in [install] shared-uuids, and names no machine; select by mac",
                        value.get_ref()
                    );
                    self.wrong(value, text);
                    whole = false;
                }
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    self.wrong(value, format!("{:?} {error}", value.get_ref()));
                    whole = false;
                }
            }
        }
        fields.insert(field, patterns);
        whole
    }
}
