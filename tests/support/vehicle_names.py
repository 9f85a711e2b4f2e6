"""Databases of one small bus, by hand."""

DBC = """VERSION ""

NS_ :

BS_:

BU_: ECU

BO_ 420 EngineData: 8 ECU
 SG_ EngineSpeed : 0|16@1+ (0.25,0) [0|16383] "rpm" ECU
 SG_ Throttle : 23|8@0+ (0.4,0) [0|100] "%" ECU
 SG_ OilTemperature : 27|12@0+ (1,-40) [-40|215] "°C" ECU

BO_ 421 Pages: 4 ECU
 SG_ Page M : 0|8@1+ (1,0) [0|1] "" ECU
 SG_ Voltage m0 : 8|8@1+ (1,0) [0|0] "V" ECU
 SG_ Current m1 : 8|16@1- (1,0) [0|0] "A" ECU

BO_ 422 Overlapping: 2 ECU
 SG_ One : 0|10@1+ (1,0) [0|0] "" ECU
 SG_ Other : 8|8@1+ (1,0) [0|0] "" ECU
 SG_ BeyondTheEnd : 12|16@1+ (1,0) [0|0] "" ECU

BO_ 2566844926 CruiseControl: 8 ECU
 SG_ WheelSpeed : 8|16@1+ (0.00390625,0) [0|251] "km/h" ECU

BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "";
BA_ "VFrameFormat" BO_ 2566844926 3;
VAL_ 420 Throttle 0 "closed" 250 "open" ;
"""

KCD = """<?xml version="1.0" encoding="UTF-8"?>
<NetworkDefinition xmlns="http://kayak.2codeornot2code.org/1.0">
  <Document/>
  <Bus name="Motor">
    <Message id="0x1A4" name="EngineData" length="8">
      <Signal name="EngineSpeed" offset="0" length="16"><Value slope="0.25" unit="rpm"/></Signal>
    </Message>
  </Bus>
</NetworkDefinition>
"""

SYM = """FormatVersion=6.0 // Do not edit this line!
Title="car"

{SENDRECEIVE}

[EngineData]
Type=Standard
ID=1A4h
Len=8
Var=EngineSpeed unsigned 0,16 /u:rpm /f:0.25
"""
