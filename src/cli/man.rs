//! `bootbox man`: one page, with the options of every command.

use std::io;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::args::Args;

pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut command = Args::command();
    command.build();
    let main = Man::new(command.clone());
    let mut page = Vec::new();
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help")
    {
        let mut section = Vec::new();
        let part = Man::new(subcommand.clone());
        part.render_description_section(&mut section)?;
        part.render_options_section(&mut section)?;
        // clap_mangen writes one page a command; here each is a section of the one page.
        let name = subcommand.get_name();
        let section = String::from_utf8_lossy(&section)
            .replacen(".SH DESCRIPTION", &format!(".SH \"bootbox {name}\""), 1)
            .replacen(".SH OPTIONS", ".PP", 1);
        page.extend(section.bytes());
    }
    main.render_extra_section(&mut page)?;
    main.render_version_section(&mut page)?;
    Ok(page)
}
