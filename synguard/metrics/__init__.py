"""Pure statistics (arrays in, numbers out) and the catalogue of every metric that synguard reports."""
