# SPDX-License-Identifier: Apache-2.0
"""Write what shells complete the commands with: `python docs/completion.py`.

raplica and conformance answer a shell themselves, through click: the files here only ask them when the first TAB
comes, so they are right for whichever version is installed. raplica-reader is made of the standard library alone and
cannot answer, so its words are written down. The wheel installs the files where bash-completion, zsh and fish look.
"""

import argparse
import sys
from pathlib import Path

import raplica_reader.arguments

FILES = Path(__file__).resolve().parent / "completion"
CLICK = ("raplica", "conformance")
READER = "raplica-reader"

_LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"
_BASH = 'eval "$({variable}=bash_source {name})"\n'
_ZSH = '#compdef {name}\n{licence}eval "$({variable}=zsh_source {name})"\n_{name}_completion "$@"\n'
_FISH = "{variable}=fish_source {name} | source\n"

_READER_BASH = """\
_raplica_reader() {{
    local words
    case ${{COMP_WORDS[1]}} in
{cases}
        *) words={top} ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _raplica_reader raplica-reader
"""
_READER_ZSH = """\
#compdef raplica-reader
{licence}case $words[2] in
{cases}
    *) compadd -- {top} ;;
esac
_files
"""


def words() -> dict[str, tuple[str, ...]]:
    """The options of each subcommand of raplica-reader; under the empty name the subcommands themselves."""
    parser = raplica_reader.arguments.parser("")
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse shows them nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below = action.choices
    return {"": (*below, *_options(parser)), **{name: _options(one) for name, one in below.items()}}


def _options(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """The long options."""
    found = (option for action in parser._actions for option in action.option_strings)  # noqa: SLF001
    return tuple(sorted(option for option in found if option.startswith("--")))


def files() -> dict[str, str]:
    """Every file by its path below docs/completion."""
    found = {}
    for name in CLICK:
        variable = f"_{name.upper()}_COMPLETE"
        found[f"bash/{name}"] = _LICENCE + _BASH.format(name=name, variable=variable)
        found[f"zsh/_{name}"] = _ZSH.format(name=name, variable=variable, licence=_LICENCE)
        found[f"fish/{name}.fish"] = _LICENCE + _FISH.format(name=name, variable=variable)
    known = words()
    top, below = known.pop(""), known
    bash = "\n".join(f'        {name}) words="{" ".join(options)}" ;;' for name, options in below.items())
    zsh = "\n".join(f"    {name}) compadd -- {' '.join(options)} ;;" for name, options in below.items())
    fish = [f"complete -c {READER} -n __fish_use_subcommand -f -a '{' '.join(below)}'"]
    fish += [
        f"complete -c {READER} -n '__fish_seen_subcommand_from {name}' -l {option.removeprefix('--')}"
        for name, options in below.items()
        for option in options
    ]
    found[f"bash/{READER}"] = _LICENCE + _READER_BASH.format(cases=bash, top=f'"{" ".join(top)}"')
    found[f"zsh/_{READER}"] = _READER_ZSH.format(cases=zsh, top=" ".join(top), licence=_LICENCE)
    found[f"fish/{READER}.fish"] = _LICENCE + "\n".join(fish) + "\n"
    return found


if __name__ == "__main__":
    for name, text in files().items():
        path = FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    sys.stdout.write(f"{FILES}: written\n")
