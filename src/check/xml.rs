//! XML: whether it is well-formed, and whether it is a profile of AutoYaST.

use roxmltree::{Document, Node, ParsingOptions};

use super::Report;

/// Adds what keeps a text from being XML.
pub(super) fn check(text: &str, report: &mut Report) {
    if let Err((line, why)) = shape(text) {
        report.error(line, why);
    }
}

/// The same of SUSE's installer.
pub(super) fn check_autoyast(text: &str, report: &mut Report) {
    match parse(text) {
        Err((line, why)) => report.error(line, why),
        Ok(document) => {
            let root = document.root_element().tag_name().name();
            if root != "profile" {
                let why = format!(
                    "has <{root}> around everything, which is no profile of AutoYaST; write <profile \
                     xmlns=\"http://www.suse.com/1.0/yast2ns\">"
                );
                report.warn(1, why);
            }
        }
    }
}

/// How it is built, without what its texts say; else the line and why it is no XML.
pub(super) fn shape(text: &str) -> Result<String, (usize, String)> {
    Ok(of_node(parse(text)?.root()))
}

fn parse(text: &str) -> Result<Document<'_>, (usize, String)> {
    // AutoYaST's own examples begin with a DOCTYPE.
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let line = usize::try_from(error.pos().row).unwrap_or(1).max(1);
        (line, format!("is no XML: {error}; write &lt; for < and &amp; for & in texts"))
    })
}

fn of_node(root: Node<'_, '_>) -> String {
    let mut shape = String::new();
    for node in root.descendants() {
        if node.is_element() {
            let depth = node.ancestors().count();
            let attributes: Vec<&str> = node.attributes().map(|it| it.name()).collect();
            shape += &format!("{depth}<{} {}>", node.tag_name().name(), attributes.join(" "));
        }
    }
    shape
}
