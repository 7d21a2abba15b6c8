"""One module for each published layout; each has one function, `find_cases`.

``find_cases(raw, **options)`` takes the raw folder and returns a
`segflow.datasets.sources.Catalogue`. It looks at names and small tables only, for it is called
whenever the workflow starts: these modules import nothing heavy. A folder of another layout raises
`segflow.datasets.sources.no_cases`; everything else that is wrong is a problem of the catalogue, so
that all problems are listed at once.
``OPTIONS`` is the JSON schema of the options that a data set's description may give. A layout that
says itself what its channels and labels are has a function `describe`, too.
"""
