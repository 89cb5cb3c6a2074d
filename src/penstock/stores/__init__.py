"""Where runs are kept: `memory` for as long as the process lives, `sqlite` for good."""
