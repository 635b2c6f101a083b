-- Who may use the API: the secret itself is nowhere.
CREATE TABLE api_tokens (
	id TEXT PRIMARY KEY,
	hash TEXT NOT NULL,         -- SHA-256 of the secret
	who TEXT NOT NULL,          -- the name that the history tells
	scopes TEXT NOT NULL,       -- separated by spaces
	packages TEXT NOT NULL,     -- separated by spaces; '' for all
	note TEXT NOT NULL,
	made_by TEXT NOT NULL,
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL,    -- 0: never
	used BIGINT NOT NULL,       -- last, within a minute; 0: never
	revoked BIGINT NOT NULL     -- when; 0: it is not
);

-- Uploads that are complete, until they are old.
CREATE TABLE api_files (
	upload TEXT PRIMARY KEY,
	who TEXT NOT NULL,
	name TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	size BIGINT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX api_files_expires ON api_files (expires);

-- Answers to requests with an idempotency key, for those who ask again.
CREATE TABLE api_answers (
	who TEXT NOT NULL,
	key TEXT NOT NULL,
	request TEXT NOT NULL,      -- SHA-256 of what was asked
	status BIGINT NOT NULL,
	body TEXT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (who, key)
);
CREATE INDEX api_answers_expires ON api_answers (expires);
