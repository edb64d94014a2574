# manifest FILE NAME: the value of a main attribute of a jar's manifest, whose long lines go on after a space.
manifest() { tr -d '\r' < "$1" | sed -e '/^$/q' | sed -e ':a;N;$!ba;s/\n //g' | sed -n "s/^$2: *//p" | head -n 1; }

# kind_of BUILD_DIR: `war`, `main` (an unpacked jar that can be run), `jar` (one jar file) or `maven`; nothing where it is none.
kind_of() {
  local jars
  if [ -d "$1/WEB-INF" ]; then
    echo war
  elif [ -f "$1/META-INF/MANIFEST.MF" ] && [ -n "$(manifest "$1/META-INF/MANIFEST.MF" Main-Class)" ]; then
    echo main
  elif [ -f "$1/pom.xml" ]; then
    echo maven
  else
    jars=$(find "$1" -maxdepth 1 -name '*.jar' | wc -l)
    [ "$jars" -ne 1 ] || echo jar
  fi
}
