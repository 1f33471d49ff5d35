"""Every byte that crosses a boundary: parse and encode, each value in one spelling."""
