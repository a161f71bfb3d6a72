from ssl4rl import Example, Media
from ssl4rl.core.prompt import messages


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
