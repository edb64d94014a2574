<?php

namespace Sample;

final class Greeting
{
    public static function for(string $name): string
    {
        return "hello from $name";
    }
}
