//! bootbox: a box you drop onto a VLAN, and every machine there boots from power-on.
