// Package applet lists the names by which miosd is called on a device: what
// build/image makes links for in /system/bin. A test of cmd/miosd holds it
// against the program.
package applet

// Names is in byte order.
var Names = []string{
	"[", "adbd", "base64", "basename", "bugreport", "bugreportz", "cat", "chmod", "chown", "clear", "cmp", "cp", "curl",
	"cut", "date", "dd", "df", "dirname", "dmesg", "du", "echo", "env", "false", "find", "free", "getprop", "grep",
	"gzip", "head", "hexdump", "hostname", "id", "init", "ip", "kill", "ln", "log", "logcat", "ls", "lsmod", "md5sum",
	"mkdir", "mktemp", "mount", "mv", "nc", "netd", "nohup", "nproc", "pgrep", "pidof", "ping", "poweroff", "printenv",
	"printf", "ps", "pwd", "readlink", "realpath", "reboot", "rm", "rmdir", "seq", "setprop", "setsid", "sh", "sha1sum",
	"sha256sum", "sha512sum", "shutdown", "sleep", "sort", "start", "stat", "stop", "sync", "tail", "tar", "tee",
	"test", "timeout", "top", "touch", "tr", "true", "truncate", "umount", "uname", "uniq", "uptime", "usleep",
	"waitforprop", "wc", "wget", "which", "whoami", "xargs", "yes",
}
