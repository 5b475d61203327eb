"""The model compiler: what can be done once, at registration, is not done at every cold start.

    raw file ──► answers ──► ZipMap ──► trees apart ──► optimise, weights beside ──► forests ──► forms, proven equal
                 to a sample `zipmap`   `single_trees`  `optimising`,                `forests`, `tree_ensemble`,
                                        `leaves`        `named_sizes`                `packed_forest`

The uploaded file stays the artifact of record; a *form* is another file that gives the same answers, to the bit, on one
thread and on two (`proving`), on the caller's sample or on one that is drawn (`sampling`). A step that is not equal, or
does not pay, is dropped and says so; so is a form that runs slower (`timing`). Everything happens in a child process
with limits (`child`, `compiler`), because a model may loop for ever or ask for 32 GiB. float32 stays float32. On one
machine the same bytes in give the same bytes out.

How a form is loaded, by both engines:

- Only with the version of onnxruntime that is written on it, and where ``architecture`` is ``any`` or what
  `modelyard.compiling.loading.machine` says; of two that fit, the machine's own.
- Where ``requires`` is not empty, only with that library of ours, where `modelyard.compiling.kernel` finds it, and on
  one thread; before all others. Python: ``options.register_custom_ops_library(path)``, C:
  ``RegisterCustomOpsLibrary_V2`` (position 228, since version 14).
- At the default level of optimisation (ORT_ENABLE_ALL), from bytes, like the raw file.
- A form with weights needs them as the file ``weights.bin`` in a folder of their own, and the session option
  ``session.model_external_initializers_file_folder_path`` with that folder's path (Python:
  ``options.add_session_config_entry``; C: ``AddSessionConfigEntry``). onnxruntime maps the file: 46 MB of memory and
  48 ms for a text encoder of 90 MB, where the raw file takes 203 MB and 184 ms; writing the file to /tmp adds 30 to 50.
  It is mapped as long as the session lives: write it under another name and rename it, never write into it.
- Where the disk has no room, the weights can stay in the memory that they were fetched into: session option
  ``session.use_external_initializer_file_buffers_directly`` = ``1`` and, in C,
  ``AddExternalInitializersFromFilesInMemory(options, {"weights.bin"}, {buffer}, {size}, 1)`` (position 279 of the
  table, since version 18), in Python
  ``options.add_external_initializers_from_files_in_memory(["weights.bin"], [bytes], [size])``. The buffer has to
  outlive the session. That is as fast, but takes as much memory as the raw file. Without the option onnxruntime copies.

Use `compiler.compile_model` and `zipmap.zipmap_classes`. An endpoint imports `loading`, and `kernel` for a form that
requires it, and no other module; so this one imports nothing.

A model that cannot be compiled is a version like any other: the raw file serves, and the reason is recorded.
"""
