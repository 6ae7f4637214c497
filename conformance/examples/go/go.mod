module example.org/search-domain

go 1.21
