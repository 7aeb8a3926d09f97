package mutant
