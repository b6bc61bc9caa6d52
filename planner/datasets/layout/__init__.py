"""What the records of a dataset mean: which columns hold language, and what each is for.

``prepare(records)`` flattens, decodes and unfolds them; ``find_layout`` judges the columns by what
they hold and gives them roles; ``conversation_of`` makes a record what a trainer renders.
"""
