"""Models you can ask: choosing and loading one, questions and their options, answers, conversations."""
