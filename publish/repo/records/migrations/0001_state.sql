CREATE TABLE repo_state (
	repo TEXT NOT NULL,
	name TEXT NOT NULL,
	content BLOB NOT NULL,
	PRIMARY KEY (repo, name)
);
