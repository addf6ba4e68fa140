"""Models of Hugging Face's transformers (lesson 60), as plain modules that every other tool takes."""
