package sqllex

// Classify says what a statement does. It reads words, not grammar: a text that
// no server would accept may get any kind, and what is not known is [Other]. A
// text with several statements is classified by its first.
func Classify(stmt string) Info {
	c := newCursor(stmt)
	for c.peek(0).Kind == Semicolon {
		c.take()
	}
	var info Info
	switch first := c.peek(0); {
	case first.Kind == EOF:
		info.Kind = Empty
	case c.isPunct("("):
		classifyQuery(c, &info)
	case first.Kind == Word:
		classifyWord(c, &info)
	}
	return info
}

func classifyWord(c *cursor, info *Info) {
	switch {
	case c.isOneOf("SELECT", "VALUES", "TABLE", "WITH"):
		classifyQuery(c, info)
	case c.skip("INSERT", "INTO"):
		info.Kind = Insert
		info.Name = c.name()
	case c.skip("UPDATE"):
		info.Kind = Update
		c.skip("ONLY")
		info.Name = c.name()
	case c.skip("DELETE", "FROM"):
		info.Kind = Delete
		c.skip("ONLY")
		info.Name = c.name()
	case c.skip("MERGE", "INTO"):
		info.Kind = Merge
		c.skip("ONLY")
		info.Name = c.name()
	case c.skip("CREATE"):
		classifyCreate(c, info)
	case c.skip("ALTER"):
		classifyAlter(c, info)
	case c.skip("DROP"):
		classifyDrop(c, info)
	case c.skip("COPY"):
		classifyCopy(c, info)
	case c.skip("TRUNCATE"):
		info.Kind = Truncate
		c.skip("TABLE")
		nameList(c, info)
	default:
		if !classifyTransaction(c, info) && !classifySession(c, info) {
			classifyRest(c, info)
		}
	}
}

func classifyTransaction(c *cursor, info *Info) bool {
	switch {
	case c.skip("BEGIN"), c.skip("START", "TRANSACTION"):
		info.Kind = Begin
	case c.skip("COMMIT", "PREPARED"):
		info.Kind, info.alone = CommitPrepared, true
	case c.skip("ROLLBACK", "PREPARED"):
		info.Kind, info.alone = RollbackPrepared, true
	case c.skip("PREPARE", "TRANSACTION"):
		info.Kind = PrepareTransaction
	case c.skip("COMMIT"), c.skip("END"):
		info.Kind = Commit
	case c.skip("ABORT"):
		info.Kind = Rollback
	case c.skip("ROLLBACK"):
		info.Kind = Rollback
		if !c.skip("WORK") {
			c.skip("TRANSACTION")
		}
		if c.skip("TO") {
			info.Kind = RollbackToSavepoint
			c.skip("SAVEPOINT")
			info.Name = c.name()
		}
	case c.skip("SAVEPOINT"):
		info.Kind = Savepoint
		info.Name = c.name()
	case c.skip("RELEASE"):
		info.Kind = ReleaseSavepoint
		c.skip("SAVEPOINT")
		info.Name = c.name()
	default:
		return false
	}
	return true
}

func classifySession(c *cursor, info *Info) bool {
	switch {
	case c.skip("SET"):
		classifySet(c, info)
	case c.skip("RESET"):
		info.Kind = Reset
		info.Name = setting(c)
	case c.skip("SHOW"):
		info.Kind = Show
		info.Name = setting(c)
	case c.skip("DISCARD"):
		info.Kind = Discard
		info.alone = c.is("ALL")
	case c.skip("PREPARE"):
		info.Kind = Prepare
		info.Name = c.name()
	case c.skip("EXECUTE"):
		info.Kind = Execute
		info.Name = c.name()
	case c.skip("DEALLOCATE"):
		info.Kind = Deallocate
	case c.skip("DECLARE"):
		info.Kind = Declare
		info.Name = c.name()
	case c.skip("FETCH"), c.skip("MOVE"):
		info.Kind = Fetch
	case c.skip("CLOSE"):
		info.Kind = Close
	case c.skip("LISTEN"):
		info.Kind = Listen
	case c.skip("NOTIFY"):
		info.Kind = Notify
	case c.skip("UNLISTEN"):
		info.Kind = Unlisten
	case c.skip("LOAD"):
		info.Kind = Load
	default:
		return false
	}
	return true
}

func classifyRest(c *cursor, info *Info) {
	switch {
	case c.skip("REINDEX"):
		classifyReindex(c, info)
	case c.skip("REFRESH", "MATERIALIZED", "VIEW"):
		info.Kind = RefreshMaterializedView
		mode(c, info, false)
		info.Name = c.name()
	case c.skip("CLUSTER"):
		info.Kind = Cluster
		c.skipParens()
		c.skip("VERBOSE")
		info.Name = c.name()
		info.alone = info.Name.IsZero()
	case c.skip("VACUUM"):
		info.Kind, info.alone = Vacuum, true
	case c.skip("ANALYZE"), c.skip("ANALYSE"):
		info.Kind = Analyze
	case c.skip("COMMENT", "ON"):
		info.Kind = CommentOn
		info.Object = object(c)
		info.Name = c.name()
	case c.skip("SECURITY", "LABEL"):
		info.Kind = SecurityLabel
	case c.skip("GRANT"):
		info.Kind = Grant
	case c.skip("REVOKE"):
		info.Kind = Revoke
	case c.skip("REASSIGN", "OWNED"):
		info.Kind = ReassignOwned
	case c.skip("IMPORT", "FOREIGN", "SCHEMA"):
		info.Kind = ImportForeignSchema
	case c.skip("CALL"):
		info.Kind = Call
		info.Name = c.name()
	case c.skip("DO"):
		info.Kind = Do
	case c.skip("EXPLAIN"):
		info.Kind = Explain
	case c.skip("LOCK"):
		info.Kind = Lock
	case c.skip("CHECKPOINT"):
		info.Kind = Checkpoint
	}
}

// mode takes CONCURRENTLY, or ASYNC where it may stand.
func mode(c *cursor, info *Info, async bool) {
	switch {
	case c.skip("CONCURRENTLY"):
		info.Concurrently = true
	case async && c.skip("ASYNC"):
		info.Async = true
	default:
		return
	}
	info.Mode = Span{c.last.Start, c.last.End}
}

// nameList takes names with commas between them.
func nameList(c *cursor, info *Info) {
	for {
		c.skip("ONLY")
		n := c.name()
		if n.IsZero() {
			break
		}
		info.Names = append(info.Names, n)
		c.skipParens() // a function's argument types
		if t := c.peek(0); t.Kind == Operator && t.Text(c.src) == "*" {
			c.take()
		}
		if !c.isPunct(",") {
			break
		}
		c.take()
	}
	if len(info.Names) > 0 {
		info.Name = info.Names[0]
	}
}

// setting takes what SET, RESET and SHOW name; the words that SQL has for some
// settings become the settings' names.
func setting(c *cursor) Name {
	start := c.peek(0).Start
	name := ""
	switch {
	case c.skip("TIME", "ZONE"):
		name = "timezone"
	case c.skip("SESSION", "AUTHORIZATION"):
		name = "session_authorization"
	case c.skip("TRANSACTION", "ISOLATION", "LEVEL"):
		name = "transaction_isolation"
	case c.skip("NAMES"):
		name = "client_encoding"
	case c.skip("SCHEMA"):
		name = "search_path"
	case c.skip("XML", "OPTION"):
		name = "xmloption"
	default:
		return c.name()
	}
	return Name{Name: name, Span: Span{start, c.last.End}}
}

func classifySet(c *cursor, info *Info) {
	info.Kind = Set
	switch {
	case c.skip("LOCAL"):
		info.Kind = SetLocal
	case c.is("SESSION", "AUTHORIZATION"):
	case c.skip("SESSION", "CHARACTERISTICS"):
		info.Kind = SetTransaction
		return
	default:
		c.skip("SESSION")
	}
	switch {
	case c.skip("TRANSACTION"):
		info.Kind = SetTransaction
	case c.skip("CONSTRAINTS"):
		info.Kind = SetConstraints
	default:
		info.Name = setting(c)
	}
}

func classifyReindex(c *cursor, info *Info) {
	info.Kind = Reindex
	if c.isPunct("(") {
		for !c.atEnd() && !c.isPunct(")") {
			if tok := c.take(); tok.Is(c.src, "CONCURRENTLY") && !isOff(c.src, c.peek(0)) {
				info.Concurrently = true
			}
		}
		c.take()
	}
	info.Object = c.upper()
	info.ModeAt = c.last.End
	mode(c, info, false)
	info.Name = c.name()
	info.alone = info.Concurrently || info.Object == "SCHEMA" || info.Object == "DATABASE" || info.Object == "SYSTEM"
}

// isOff reports whether the token is what an option is switched off with.
func isOff(src string, t Token) bool {
	switch t.Kind {
	case Word:
		return t.Is(src, "FALSE") || t.Is(src, "OFF") || t.Is(src, "NO")
	case String:
		switch t.Text(src) {
		case "'false'", "'off'", "'no'", "'0'":
			return true
		}
	case Number:
		return t.Text(src) == "0"
	}
	return false
}

func classifyCopy(c *cursor, info *Info) {
	info.Kind = CopyFrom
	c.skip("BINARY")
	info.Name = c.name()
	for depth := 0; !c.atEnd(); {
		tok := c.take()
		depth += parens(c.src, tok)
		if depth > 0 {
			continue
		}
		switch {
		case tok.Is(c.src, "TO"):
			info.Kind = CopyTo
			fallthrough
		case tok.Is(c.src, "FROM"):
			info.Stdio = c.isOneOf("STDIN", "STDOUT")
			return
		}
	}
}

// classifyQuery reads SELECT, VALUES, TABLE, or WITH and what comes behind it.
// It must read all of it: what makes a query write may stand at its end.
func classifyQuery(c *cursor, info *Info) {
	info.Kind = Select
	inWith, hasWith := c.is("WITH"), false
	outer, opening := 0, true // parentheses around all of it, within which INTO may stand
	var prev, beforePrev Token
	for depth := 0; !c.atEnd(); {
		tok := c.take()
		depth += parens(c.src, tok)
		if opening = opening && parens(c.src, tok) > 0; opening {
			outer = depth
		}
		if tok.Kind == Word {
			hasWith = hasWith || tok.Is(c.src, "WITH")
			switch {
			case inWith && depth == 0 && beginsQuery(c.src, prev):
				if kind, ok := queryVerb(c.src, tok); ok {
					inWith, info.Kind = false, kind
				}
			case hasWith && depth > 0 && writes(c.src, tok) && inQueryPlace(c.src, beforePrev, prev):
				info.WritesInWith = true
			case depth <= outer && info.Kind == Select && tok.Is(c.src, "INTO") &&
				!prev.Is(c.src, "AS") && !prev.IsPunct(c.src, "."):
				selectInto(c, info)
			case tok.Is(c.src, "FOR"):
				info.LocksRows = info.LocksRows || c.isOneOf("UPDATE", "SHARE", "NO", "KEY")
			}
		}
		beforePrev, prev = prev, tok
	}
}

// beginsQuery reports whether a main query may begin behind the token, within
// WITH a AS (…), b AS (…) … at the outermost level.
func beginsQuery(src string, prev Token) bool {
	switch {
	case prev.IsPunct(src, ","), prev.IsPunct(src, "."):
		return false
	}
	for _, w := range [...]string{"WITH", "RECURSIVE", "BY", "SET", "USING", "TO", "DEFAULT"} {
		if prev.Is(src, w) {
			return false
		}
	}
	return true
}

func queryVerb(src string, t Token) (StatementKind, bool) {
	switch {
	case t.Is(src, "SELECT"), t.Is(src, "VALUES"), t.Is(src, "TABLE"):
		return Select, true
	case t.Is(src, "INSERT"):
		return Insert, true
	case t.Is(src, "UPDATE"):
		return Update, true
	case t.Is(src, "DELETE"):
		return Delete, true
	case t.Is(src, "MERGE"):
		return Merge, true
	}
	return Other, false
}

func writes(src string, t Token) bool {
	kind, ok := queryVerb(src, t)
	return ok && kind != Select
}

// inQueryPlace reports whether a query of a WITH may begin behind the two
// tokens: "AS (", or the ")" that ends a WITH within it.
func inQueryPlace(src string, beforePrev, prev Token) bool {
	if prev.IsPunct(src, ")") {
		return true
	}
	return prev.IsPunct(src, "(") && (beforePrev.Is(src, "AS") || beforePrev.Is(src, "MATERIALIZED"))
}

func selectInto(c *cursor, info *Info) {
	info.Kind = CreateTableAs
	info.Object = "TABLE"
	for c.isOneOf("TEMP", "TEMPORARY", "LOCAL", "GLOBAL") && isIdent(c.peek(1)) {
		c.take()
		info.Temporary = true
	}
	c.skip("UNLOGGED")
	c.skip("TABLE")
	info.Name = c.name()
}
