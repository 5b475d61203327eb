"""Bodies of ``/predict`` that are not JSON: NPY and Arrow, for batches in which JSON is most of the time.

::

    table.py ─► npy.py                      one array
             ─► arrow.py, arrow_writer.py   a table, a column for each input or output (flatbuffer.py)

Either form may be asked and answered with: ``content-type`` says what came, ``accept`` what goes. Imported with the
first request that is not plain JSON. No numpy and no pyarrow: the serving layers do not hold them.
"""
