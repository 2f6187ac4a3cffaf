package policy

// DecodeEntry decodes the body of one entry of a record chain and encodes it
// again, for the fuzz test of the format.
func DecodeEntry(body []byte) (again []byte, err error) {
	records, err := decodeEntry(body)
	if err != nil {
		return nil, err
	}
	bodies, err := encodeEntries(records)
	if err != nil {
		return nil, err
	}
	return bodies[0], nil
}

// Remembering is a request as the runtime gives it to deciders.
func Remembering(r Request) Request { return r.remembering() }
