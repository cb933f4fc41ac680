module spansieve/go-regexp

go 1.25
