"""The plan: everything an operator asks for, validated."""
