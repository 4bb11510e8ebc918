"""Make the labs, give them out, restore them, and teach a class with them.

| module | job |
| --- | --- |
| `editions` | from a source to the learner edition and the solution edition; the rules of a source |
| `execution` | run the solution edition |
| `authoring` | build, check and start labs: `labs notebooks` |
| `template`, `new_lab/` | the first version of a new lab |
| `reset` | a lab as it was handed out, and the learner's version beside it |
| `release` | the learner edition as a zip |
| `timetable`, `preflight`, `slides` | what an instructor needs before a class; its plans are in `plans.toml` |
| `page`, `formulas` | a notebook as one HTML file to read, send or print without a network |
| `home` | where the course's repository is, for every text and link |
| `workshop` | what starts a class: the link to a hub, the class board |
"""
