-- The one row that every change writes first: it numbers events and submissions,
-- and orders changes.
CREATE TABLE store_head (
	id BIGINT PRIMARY KEY,
	event BIGINT NOT NULL,      -- the newest one's number
	hash TEXT NOT NULL,         -- and its hash
	submission BIGINT NOT NULL  -- the newest one's number
);
INSERT INTO store_head (id, event, hash, submission) VALUES (1, 0, '', 0);

CREATE TABLE store_events (
	seq BIGINT PRIMARY KEY,
	time BIGINT NOT NULL,
	who TEXT NOT NULL,
	what TEXT NOT NULL,
	package TEXT NOT NULL,
	why TEXT NOT NULL,
	data TEXT NOT NULL,
	prev TEXT NOT NULL,
	hash TEXT NOT NULL
);

CREATE TABLE store_apps (
	package TEXT PRIMARY KEY,
	label TEXT NOT NULL,
	claim TEXT NOT NULL,
	data TEXT NOT NULL,
	listing TEXT NOT NULL       -- '' without one
);

CREATE TABLE store_submissions (
	id BIGINT PRIMARY KEY,
	package TEXT NOT NULL,      -- '' until its files are read
	version_code BIGINT NOT NULL,
	state TEXT NOT NULL,
	who TEXT NOT NULL,
	time BIGINT NOT NULL,
	data TEXT NOT NULL,
	facts TEXT NOT NULL         -- '' until its files are read
);
CREATE INDEX store_submissions_package ON store_submissions (package, id);
CREATE INDEX store_submissions_state ON store_submissions (state, id);
CREATE INDEX store_submissions_who ON store_submissions (who, id);

CREATE TABLE store_releases (
	package TEXT NOT NULL,
	number BIGINT NOT NULL,
	next BIGINT NOT NULL,       -- when its share grows by itself; 0: it does not
	data TEXT NOT NULL,
	PRIMARY KEY (package, number)
);
CREATE INDEX store_releases_next ON store_releases (next);

CREATE TABLE store_deltas (
	target TEXT NOT NULL,       -- SHA-256 of the base APK that it makes
	source TEXT NOT NULL,       -- and of the one that it starts from
	sha256 TEXT NOT NULL,       -- of the delta; '': it would be too large
	size BIGINT NOT NULL,
	PRIMARY KEY (target, source)
);

-- Who needs which blob: one that nobody holds is removed.
CREATE TABLE store_blobs (
	sha256 TEXT NOT NULL,
	holder TEXT NOT NULL,
	PRIMARY KEY (sha256, holder)
);
CREATE INDEX store_blobs_holder ON store_blobs (holder);

-- What has to be done because of a change, written with it.
CREATE TABLE store_outbox (
	kind TEXT NOT NULL,
	package TEXT NOT NULL,
	revision BIGINT NOT NULL,   -- the change's event
	PRIMARY KEY (kind, package)
);

-- What F-Droid's indexes say of a package, ready to be written.
CREATE TABLE store_fdroid (
	package TEXT PRIMARY KEY,
	data TEXT NOT NULL
);
