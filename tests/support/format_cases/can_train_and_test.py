from support.format_case import HH, ID, TIME, FormatCase, Frame, Layout, Malformed, Reference, Sample, possible, seconds

HEAD = b"timestamp,arbitration_id,data_field,attack\n"
REFERENCE = Reference(
    write=lambda t, i, _, d: b"%s,%X,%s,%d" % (seconds(t), i, d.hex().encode(), t % 2),
    pattern=rb"(?P<t>%s),(?P<id>%s),(?P<data>(?:%s)*),(?P<label>[01])" % (TIME, ID, HH),
    read=lambda m: possible(float(m["t"]), m["id"], m["data"], kind="attack" if m["label"] == b"1" else "normal"),
    says_width=False,
)
WITHOUT_LABELS = Reference(
    write=lambda t, i, _, d: b"%s,%X,%s" % (seconds(t), i, d.hex().encode()),
    pattern=rb"(?P<t>%s),(?P<id>%s),(?P<data>(?:%s)*)" % (TIME, ID, HH),
    read=lambda m: possible(float(m["t"]), m["id"], m["data"]),
    says_width=False,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "time, ID, payload and label": Sample(
            HEAD + b"1672531200.0,1E5,460196,0\r\n1672531200.000023,18FEF100,,1\r\n",
            [
                Frame(1672531200.0, 0x1E5, False, "460196", kind="normal"),
                Frame(1672531200.000023, 0x18FEF100, True, "", kind="attack"),
            ],
        ),
        "without labels": Sample(
            b"timestamp,arbitration_id,data_field\n0.5,1E5,46\n", [Frame(0.5, 0x1E5, False, "46")]
        ),
        "without a last newline": Sample(HEAD + b"0.5,1E5,46,0", [Frame(0.5, 0x1E5, False, "46", kind="normal")]),
        "byte order mark, blank lines and CRLF": Sample(
            b"\xef\xbb\xbf" + (HEAD + b"0.5,1E5,46,0\n0.6,1E5,47,1\n").replace(b"\n", b"\r\n\r\n"),
            [Frame(0.5, 0x1E5, False, "46", kind="normal"), Frame(0.6, 0x1E5, False, "47", kind="attack")],
        ),
    },
    malformed={
        "id": Malformed(b"0.5,1G5,46,0", "arbitration ID is not a hexadecimal"),
        "nine bytes": Malformed(b"0.5,1E5,000102030405060708,0", "payload has 9 bytes, more than the 8"),
        "label": Malformed(b"0.5,1E5,46,2", "no label"),
    },
    reference=REFERENCE,
    layouts={
        "with labels": Layout(HEAD, REFERENCE),
        "without labels": Layout(b"timestamp,arbitration_id,data_field\n", WITHOUT_LABELS),
    },
)
