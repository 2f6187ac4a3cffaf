package history

// AppendForText is the statement of AppendFor.
const AppendForText = behind + " AND " + waiting
