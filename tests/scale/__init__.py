"""How far one stack goes: a list of any length planned, and really created, with what each further service takes."""
