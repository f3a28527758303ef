"""The questions of the page "What real servers do": one function each, which answers in a cell."""
