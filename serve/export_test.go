package serve

// What tests do with other times than the server's.
var (
	RunFor      = run
	UseTLSEvery = useTLS
)
