"""`python -m synguard`: the same as the console command."""

from synguard.commands.main import main

if __name__ == "__main__":
    main()
