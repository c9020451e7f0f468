"""The ways out of the house: each takes a decided request and streams an answer back."""
