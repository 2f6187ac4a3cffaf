package main

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What a shell completes a word by, as the last line of `countersign __complete`
// says it.
const (
	byFiles   = ":0"
	byNothing = ":4"
	byFolders = ":16"
)

// complete returns what a shell is told of the last of the words.
func complete(t *testing.T, words ...string) (values []string, by string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := execute(t.Context(), append([]string{"__complete"}, words...), &out, &errOut); code != 0 {
		t.Fatalf("%v: exit code %d, %s", words, code, &errOut)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[:len(lines)-1] {
		value, _, _ := strings.Cut(line, "\t")
		values = append(values, value)
	}
	return values, lines[len(lines)-1]
}

func TestCompletion(t *testing.T) {
	tests := map[string]struct {
		line string // its last word is empty
		by   string
		want []string
	}{
		"status":         {"request list --status", byNothing, []string{"pending", "waiting", "signed", "done", "rejected", "expired", "cancelled", "failed"}},
		"kind":           {"request list --kind", byNothing, []string{"wallet.create", "account.create", "ethereum.transaction", "ethereum.message", "ethereum.typed-data", "policy.update", "wallet.freeze", "user.freeze"}},
		"half":           {"secrets new --half", byNothing, []string{"build", "deploy"}},
		"service":        {"secrets branch --secret s --service", byNothing, []string{"proposer", "operator", "signing", "authorization", "fraud", "approval"}},
		"key's type":     {"key new --type", byNothing, []string{"ed25519", "p256"}},
		"transaction's":  {"sign transaction --type", byNothing, []string{"legacy", "eip2930", "eip1559"}},
		"roles":          {"genesis new --roles", byNothing, []string{"authorization", "fraud", "approval"}},
		"shells":         {"completion", byNothing, []string{"bash", "fish", "powershell", "zsh"}},
		"commands":       {"secrets", byNothing, []string{"branch", "inspect", "new"}},
		"topics of help": {"help secrets", byNothing, []string{"branch", "inspect", "new"}},

		"id of a request":   {"request show", byNothing, nil},
		"id of an approval": {"approve", byNothing, nil},
		"id of a wallet":    {"account list --wallet", byNothing, nil},
		"nothing more":      {"request show 1", byNothing, nil},
		"no argument":       {"wallet list", byNothing, nil},
		"duration":          {"wallet create --wait", byNothing, nil},

		"document":       {"policy sign", byFiles, nil},
		"one document":   {"policy sign policy.yaml", byNothing, nil},
		"typed data":     {"sign typed-data --account a", byFiles, nil},
		"key file":       {"approve --key", byFiles, nil},
		"inherited file": {"wallet list --profile", byFiles, nil},
		"second file":    {"policy push p.yaml --signature a --signature", byFiles, nil},
		"folder":         {"dev --dir", byFolders, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			values, by := complete(t, append(strings.Fields(tt.line), "")...)
			slices.Sort(values)
			slices.Sort(tt.want)
			if by != tt.by || !slices.Equal(values, tt.want) {
				t.Errorf("got %q %s, want %q %s", values, by, tt.want, tt.by)
			}
		})
	}
}

// TestEveryWordIsCompleted: files are offered for exactly those flags and
// arguments that the help says want one.
func TestEveryWordIsCompleted(t *testing.T) {
	file := regexp.MustCompile(`\bfile\b|^PEM |^SCRAM verifiers|^genesis document|^(the )?policy document`)
	seen := map[string]bool{}
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			walk(sub, append(slices.Clone(path), sub.Name()))
		}
		if !c.HasParent() || c.HasSubCommands() {
			return
		}
		want := byNothing
		if argument(c) == "FILE" {
			want = byFiles
		}
		if _, by := complete(t, append(path, "")...); by != want {
			t.Errorf("%v: its argument is completed by %s, want %s", path, by, want)
		}
		for flag, help := range flagsOf(c) {
			seen[flag] = true
			want := byNothing
			switch {
			case strings.HasPrefix(help, "folder "):
				want = byFolders
			case file.MatchString(help):
				want = byFiles
			}
			if _, by := complete(t, append(path, flag, "")...); by != want {
				t.Errorf("%v %s is completed by %s, want %s: %s", path, flag, by, want, help)
			}
		}
	}
	walk((&app{}).root(), nil)
	for _, name := range append(fileFlags, folderFlags...) {
		if !seen["--"+name] {
			t.Errorf("no command has --%s", name)
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d flags were seen: %v", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}

// argument is how a command's help writes what comes behind its name, but for
// flags: they come last, or have a word of their own behind them.
func argument(c *cobra.Command) string {
	words := strings.Fields(c.Use)[1:]
	for len(words) > 1 && strings.HasPrefix(words[0], "--") {
		words = words[2:]
	}
	if len(words) == 0 || strings.ContainsAny(words[0][:1], "-[(") {
		return ""
	}
	return words[0]
}

// flagsOf are the flags of a command that take a value, with their help.
func flagsOf(c *cobra.Command) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(c.LocalFlags().FlagUsages() + c.InheritedFlags().FlagUsages()) {
		words := strings.Fields(line)
		// --name TYPE   what it is for: a flag without a value has no type.
		if len(words) > 1 && strings.HasPrefix(words[0], "--") && strings.Contains(line, words[0]+" "+words[1]+" ") {
			out[words[0]] = strings.Join(words[2:], " ")
		}
	}
	return out
}
