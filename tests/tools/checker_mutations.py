"""Planted errors of the gradient checker; see `mutations`."""

from tests.tools.mutations import of

CLEAR, STATE = "tests/gradcheck/test_all_clear.py::", "tests/gradcheck/test_state.py::"
FOUND = "tests/gradcheck/test_corpus_findings.py::"
SATURATED = "tests/gradcheck/test_saturated.py::"
CHECK, DOMAINS = "tests/gradcheck/test_check.py::", "tests/gradcheck/test_domains.py::"
MUTATIONS = [
    *of(
        "gradcheck/ruler.py",
        ("kinks and jumps not seen", "seen + round_each, 4", "round_each, 4", CHECK + "test_kinks_are_avoided"),
        ("constants of y counted as noise", "np.where(changed, each, 0.0)", "each",
         CLEAR + "test_masked_elements_hide_nothing"),
        ("larger steps never tried", "if rounding and not self.grew:", "if False:", CLEAR + "test_a_small_share_of_y"),
        ("steps of one size for all elements", "if self.own is None else (False, True)", "",
         CLEAR + "test_squares_of_uneven_size"),
        ("accused from afar", "> 0.2 * slope.noise", "> 1e9 * slope.noise",
         DOMAINS + "test_offsets"),
    ),
    *of(
        "gradcheck/slopes.py",
        ("what overflows taken for right", "self.slack < np.inf", "self.slack",
         CLEAR + "test_a_slope_that_overflows"),
        ("tolerance a thousand times wider", "<= tolerance * self.slope.scale", "<= 1e3 * tolerance * self.slope.scale",
         CHECK + "test_kinks_are_avoided"),
    ),
    *of(
        "gradcheck/numbers.py",
        ("squares that overflow", "if SAFE[0] < square < SAFE[1]:", "if True:", CLEAR + "test_any_size_of_x_and_y"),
    ),
    *of(
        "gradcheck/state.py",
        ("whatever comes the second time is right",
         "        raise GradientError(\n            f\"{pair.operation}: backward is",
         "        return\n        raise GradientError(\n            f\"{pair.operation}: backward is",
         STATE + "test_state"),
        ("random results not noticed", "not norm(first.y - again.y) <= allowed",
         "not norm(first.y - again.y) >= allowed",
         STATE + "test_a_layer_that_keeps_what_it_needs_passes"),
    ),
    *of(
        "gradcheck/check.py",
        ("all directions from the first point", "PLAN = ((0, False), (1, True), (0, True), (1, False))",
         "PLAN = ((0, False), (0, True), (0, True), (0, False))", STATE + "test_state"),
        ("small gradients not favored", "v = drawn.favor_small(v, gradient)", "pass",
         CLEAR + "test_small_beside_large"),
        ("moved without a word", "self.moved = True", "self.moved = False", CLEAR + "test_the_moved_point_is_said"),
        ("one direction fewer", "for k in range(self.options.directions):",
         "for k in range(self.options.directions - 1):",
         "tests/gradcheck/test_messages.py::test_the_result_prints_as_a_table"),
    ),
    *of(
        "gradcheck/kinks.py",
        ("impossible slopes passed over", "if low - room <=", "if True or low - room <=",
         FOUND + "test_impossible_slopes_at_a_kink_are_wrong"),
        ("others make up for ties", "[:ALONE]", "[:0]", FOUND + "test_ties_are_seen_among_many"),
        ("accused at one step", "for k in OUTSIDE)", "for k in ())",
         FOUND + "test_a_narrow_step_between_two_kinks_is_not_accused"),
    ),
    *of(
        "gradcheck/gradients.py",
        ("float64 though code rounds inside", "pair.narrow() if isinstance(error, Unproved) else pair.reorder()",
         "pair.reorder()", FOUND + "test_what_rounds_in_secret_is_checked_in_the_dtypes_given"),
    ),
    *of(
        "gradcheck/doubt.py",
        ("what stands still at a small step is forgotten", "4 * u * norm", "0 * norm",
         SATURATED + "test_nobody_is_accused_for_rounding"),
    ),
    *of(
        "gradcheck/adjoint.py",
        ("what is not linear let through", "if not norm(curved) <= 1e7", "if norm(curved) < 0 * 1e7",
         CHECK + "test_adjoint"),
    ),
    *of(
        "gradcheck/report.py",
        ("the other half searched", "if not abs(missed) < abs(miss - missed)", "if abs(missed) < abs(miss - missed)",
         CHECK + "test_a_wrong_element_is_found_among_many"),
    ),
    *of(
        "gradcheck/layout.py",
        ("layouts straightened", "if is_plain(template):", "if True:",
         STATE + "test_forward_and_backward_get_the_layout_given"),
    ),
    *of(
        "gradcheck/pair.py",
        ("changed arguments not noticed", "if a is not None and not same(", "if a is not None and same(",
         STATE + "test_changed_arguments"),
        ("nothing checked is right", "if not gradients:", "if False:", CLEAR + "test_checking_nothing_is_an_error"),
        ("unchecked arguments not named", 'self.unchecked.update({slot.name: "not in wrt"', '({slot.name: "not in wrt"',
         CLEAR + "test_every_leaf_is_checked_or_named"),
    ),
    *of(
        "gradcheck/forms.py",
        ("results not copied", "found = np.array(leaves", "found = np.asarray(leaves",
         STATE + "test_a_returned_buffer_may_be_used_again"),
    ),
]
