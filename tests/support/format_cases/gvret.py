from support.format_case import HH, ID, TIME, FormatCase, Frame, Malformed, Reference, Sample, W, possible, sized

HEAD = b"Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
CASE = FormatCase(
    head=HEAD,
    samples={
        "microseconds and the bus": Sample(
            HEAD + b"1000250,000001A2,false,0,3,00,11,FF\n1000500,000001A3,true,1,1,FE,\n",
            [Frame(1.00025, 0x1A2, False, "0011ff", bus="0"), Frame(1.0005, 0x1A3, True, "fe", bus="1")],
        ),
        "with a direction": Sample(
            b"Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2\n1000000,00000450,false,Rx,0,2,00,C2\n",
            [Frame(1.0, 0x450, False, "00c2", bus="0")],
        ),
    },
    malformed={"extended": Malformed(b"1000,00000450,maybe,0,1,00", "text that the format does not have")},
    reference=Reference(
        write=lambda t, i, x, d: (
            b"%d,%08X,%s,%d,%d%s" % (t, i, b"true" if x else b"false", t % 2, len(d), b"".join(b",%02X" % b for b in d))
        ),
        pattern=rb"(?P<t>%s),(?P<id>%s),(?P<x>(?i:true|false)),(?P<bus>[ -+\--~]{1,32}),(?P<dlc>\d+)"
        rb"(?P<data>(?:,%s)*)%s*,*" % (TIME, ID, HH, W),
        read=lambda m: sized(
            m,
            int(m["dlc"]),
            lambda data: possible(float(m["t"]) / 1e6, m["id"], data, extended=m["x"].lower() == b"true", bus=m["bus"]),
        ),
    ),
)
