"""The whole course in one panel (lesson 00): prune, quantise, pack into a file, unpack, measure."""
