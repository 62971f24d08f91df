"""report/index.html: one page, readable offline, that shows every active run with its images."""
