package policy

// DecodeEntry decodes the body of one entry of a record chain and encodes it
// again, for the fuzz test of the format.
func DecodeEntry(body []byte) (again []byte, err error) {
	records, err := decodeEntry(body)
	if err != nil {
		return nil, err
	}
	chunks, err := encodeEntries(records)
	if err != nil {
		return nil, err
	}
	return chunks[0].body, nil
}
