"""Other names for memory that is there: no kernel runs."""

from __future__ import annotations

from planner.operations.call import Call, Cost, names
from planner.operations.kind import OperationKind

_OPERATIONS = names(
    "view _unsafe_view reshape _reshape_alias expand slice select permute transpose t "
    "unsqueeze squeeze alias detach split split_with_sizes unsafe_split "
    "chunk unbind narrow as_strided view_as diagonal unfold empty empty_like empty_strided "
    "new_empty new_empty_strided lift_fresh view_as_real "
    "view_as_complex resize resize_as set set_data movedim _conj real imag expand_as "
    "sym_size is_same_size empty_permuted _nested_tensor_size "
    "_has_compatible_shallow_copy_type result_type size stride storage_offset "
    "_assert_async _assert_tensor_metadata"
)


def _nothing(_call: Call) -> Cost:
    return Cost(0.0, 0.0, 0.0)


KIND = OperationKind(
    name="view",
    place=160,
    formulas=dict.fromkeys(_OPERATIONS, _nothing),
    price=None,
    terms=None,
    suite=None,
    runs_kernel=False,
)
