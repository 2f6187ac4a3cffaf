package message

import (
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fault says what is wrong with JSON from outside, for people: by the member,
// and without a name of this program or of its libraries. Their own words are
// no use: they differ from process to process, while a reason must be the same
// from every service, and they repeat the value that did not fit, which may be
// a secret or a payload.
func fault(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return errors.New(member(semantic.JSONPointer) + misfit(semantic))
	}
	var syntactic *jsontext.SyntacticError
	if !errors.As(err, &syntactic) {
		return errors.New("it cannot be read as JSON")
	}
	switch {
	case errors.Is(syntactic.Err, jsontext.ErrDuplicateName):
		return errors.New(member(syntactic.JSONPointer) + " stands twice")
	case errors.Is(syntactic.Err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early")
	}
	return errors.New(member(syntactic.JSONPointer) + " is not valid JSON, at byte " + strconv.FormatInt(syntactic.ByteOffset, 10))
}

// maxMember is how many bytes of a member's place are told: the sender chose
// the names.
const maxMember = 64

// member names a JSON value by its place (RFC 6901), quoted, because the names
// may hold what a terminal obeys.
func member(place jsontext.Pointer) string {
	switch {
	case place == "":
		return "the value"
	case len(place) > maxMember:
		place = jsontext.Pointer(Cut(string(place), maxMember)) + "..."
	}
	return "member " + strconv.Quote(string(place))
}

// kinds of JSON values that may be of a wrong type.
var jsonKinds = map[jsontext.Kind]string{
	'n': "null", 't': "a boolean", 'f': "a boolean", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
}

// misfit says why a value does not fit. What our own types say of it stands as
// it is.
func misfit(err *json.SemanticError) string {
	switch {
	case errors.Is(err.Err, json.ErrUnknownName):
		return " is not known"
	case errors.Is(err.Err, strconv.ErrRange):
		return " is out of range"
	case errors.Is(err.Err, strconv.ErrSyntax):
		return " is a number of another form than is wanted"
	case err.Err != nil:
		return ": " + err.Err.Error()
	case jsonKinds[err.JSONKind] != "":
		return " must not be " + jsonKinds[err.JSONKind]
	}
	return " has a wrong type"
}
