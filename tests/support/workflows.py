"""What GitHub makes of the file GITHUB_OUTPUT.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""


def as_github_reads(text: str) -> dict[str, str]:
    """The outputs of a step, by the rules of the page above."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        name, sign, rest = line.partition("<<") if "<<" in line.partition("=")[0] else line.partition("=")
        if sign == "<<":
            value = []
            for inner in lines:
                if inner == rest:
                    break
                value.append(inner)
            found[name] = "\n".join(value)
        elif sign:
            found[name] = rest
    return found
