from ssl4rl import Example, Media
from ssl4rl.core.prompt import left_to_write, messages, opening


def test_messages_keep_the_order_and_join_texts() -> None:
    example = Example(("Look: ", Media("image", 1), "One", " two", Media("sound", 2)), "A")
    assert messages(example, "Answer.", system="Be kind.") == [
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look: "},
                {"type": "image"},
                {"type": "text", "text": "One two"},
                {"type": "sound"},
                {"type": "text", "text": "\nAnswer."},
            ],
        },
    ]
    assert messages(Example(("Q",), "A"), "Answer.")[0]["content"] == [{"type": "text", "text": "Q\nAnswer."}]


def test_a_thought_that_the_template_opens_is_read_off_the_prompts_end() -> None:
    assert opening("<|im_start|>assistant\n<think>\n") == "<think>\n"
    assert opening("<|Assistant|><think>") == "<think>"
    assert opening("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""
    assert opening("Reason inside <think> </think>.<|im_end|>\n<|im_start|>assistant\n") == ""
    assert opening("") == ""


def test_what_is_left_to_write_of_a_reply() -> None:
    think, answer = "<think></think><answer>B</answer>", "<answer>B</answer>"
    assert [left_to_write(reply, "") for reply in (think, answer)] == [think, answer]
    assert left_to_write(think, "<think>\n") == left_to_write(answer, "<think>\n") == "</think><answer>B</answer>"
