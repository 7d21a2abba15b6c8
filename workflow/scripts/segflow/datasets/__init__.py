"""One module for each published layout; each has one function, `find_cases`.

`find_cases` takes the raw folder and returns its cases. It looks at names only: it is called
whenever the workflow starts, so these modules import nothing heavy.
"""
