// The commonest words of English, about in the order of their frequency: function words, then the words that technical
// prose cannot do without. They head the generated vocabulary, so that the english text search configuration drops as
// large a share of the running text as it does of real text, and queries of common words only are what they are in life.
export const COMMON_WORDS = (
  'the of to and in is for that be are on with as by this it or an from can at not if you will have which has all one ' +
  'when was use their these may more but other each they no any used we there such two into than also so its only ' +
  'must some should new were do data then been time using first between up system how example same them where ' +
  'would out number set most about value your different information file both case while user work does like ' +
  'through because what make over need way following after many who our order see before line here based process ' +
  'being had however type very just those point name could his he her she under even three part however three ' +
  'function process form given state level change required high general called well without result since either ' +
  'several large long less within main small list available service control process test common access table field ' +
  'key program local single another possible end current specific problem group add right take current order ' +
  'next object during page section until include less defined code text input output version message error run network ' +
  'request application management server method means often standard similar note contains note size shown good ' +
  'support open start power current design source product allow define create least various multiple default become ' +
  'provide read write record address search command class important device area world particular known certain still ' +
  'return simple total second third model unit rate model present usually day water year body place item period cost ' +
  'people report company market public customer contract payment account office team order plan project business ' +
  'policy law rule right left top bottom side term step action event response query index link node path image ' +
  'video audio memory disk storage cache thread queue task schedule backup release update install configure deploy ' +
  'monitor log alert metric limit quota token secret login session password email phone country city street number ' +
  'language letter word sentence document manual guide chapter figure diagram column row cell sheet template format ' +
  'string integer float boolean array vector matrix tree graph edge map filter sort merge split join union select ' +
  'insert delete view schema database cluster region zone host client proxy router switch cable port socket packet ' +
  'signal frequency voltage current circuit battery sensor motor engine pump valve pipe tank pressure temperature ' +
  'speed weight length width height volume surface angle distance force energy heat light sound color material metal ' +
  'steel plastic glass wood paper paint coat seal bolt screw nut plate frame panel door window wall floor roof ground'
).split(' ')
