package document

import (
	"errors"
	"time"

	"go.yaml.in/yaml/v3"
)

// ErrTime says that a time is not written as it must be.
var ErrTime = errors.New("time is not RFC 3339 in whole seconds of UTC, such as 2027-01-31T00:00:00Z")

// Time is a moment in whole seconds of UTC, written as RFC 3339 with "Z".
type Time struct{ time.Time }

// At returns the moment in whole seconds of UTC.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// UnmarshalYAML reads the one form that MarshalYAML writes, quoted or not.
func (t *Time) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return ErrTime
	}
	got, err := time.Parse(time.RFC3339, node.Value)
	if err != nil || got.UTC().Format(time.RFC3339) != node.Value {
		return ErrTime
	}
	t.Time = got.UTC()
	return nil
}

// MarshalYAML writes RFC 3339; a zero time is left out by omitempty.
func (t Time) MarshalYAML() (any, error) { return t.UTC().Format(time.RFC3339), nil }
