"""esxcli over vCenter: pyVmomi sends and decodes it, but lacks the types, which are no part of the published API."""

import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from pyVmomi.VmomiSupport import (
    F_OPTIONAL, CreateDataType, CreateManagedType, GetVmodlType, Object)

SINCE = "vim.version.version5"
EXECUTER = "vmodl.reflect.ManagedMethodExecuter"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


def field(name, kind="string", flags=0):
    return (name, kind, SINCE, flags)


def param(name, kind="string", flags=0):
    return (name, kind, SINCE, flags, None)


CreateDataType(EXECUTER + ".SoapArgument", "ReflectManagedMethodExecuterSoapArgument", "vmodl.DynamicData", SINCE,
               [field("name"), field("val")])
CreateDataType(EXECUTER + ".SoapFault", "ReflectManagedMethodExecuterSoapFault", "vmodl.DynamicData", SINCE,
               [field("faultMsg"), field("faultDetail", flags=F_OPTIONAL)])
CreateDataType(EXECUTER + ".SoapResult", "ReflectManagedMethodExecuterSoapResult", "vmodl.DynamicData", SINCE,
               [field("response", flags=F_OPTIONAL), field("fault", EXECUTER + ".SoapFault", F_OPTIONAL)])
CreateManagedType(EXECUTER, "ReflectManagedMethodExecuter", "vmodl.ManagedObject", SINCE, None, [
    ("executeSoap", "ExecuteSoap", SINCE,
     (param("moid"), param("version"), param("method"), param("argument", EXECUTER + ".SoapArgument[]", F_OPTIONAL)),
     (F_OPTIONAL, EXECUTER + ".SoapResult", EXECUTER + ".SoapResult"), None, None)])


class Refused(Exception):
    def __init__(self, detail):
        fault = ET.fromstring(detail).find("{*}fault")
        self.type = fault.get(XSI_TYPE)
        self.lines = [line.text for line in fault.iter("{urn:vim25}errMsg")]
        super().__init__(self.type, self.lines)


def executer(host):
    kind = GetVmodlType(EXECUTER)
    call = Object(name="retrieveManagedMethodExecuter", typeId=None, wsdlName="RetrieveManagedMethodExecuter",
                  version=SINCE, params=(), isTask=False, resultFlags=0, result=kind, methodResult=kind)
    return host._stub.InvokeMethod(host, call, ())


def fields_of(row):
    return {child.tag.rsplit("}", 1)[-1]: child.text or "" for child in row}


def run(host, words, **arguments):
    kind = GetVmodlType(EXECUTER + ".SoapArgument")
    space = words.split()[:-1]
    result = executer(host).ExecuteSoap(
        "ha-cli-handler-" + "-".join(space), "urn:vim25/5.0", "vim.EsxCLI." + ".".join(words.split()),
        [kind(name=name, val=f"<{name}>{escape(value)}</{name}>") for name, value in arguments.items()])
    if result is None:
        return []
    if result.fault:
        raise Refused(result.fault.faultDetail)
    obj = ET.fromstring(result.response)
    return [fields_of(row) for row in obj] if obj.get(XSI_TYPE) == "ArrayOfDataObject" else [fields_of(obj)]
